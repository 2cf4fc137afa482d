"""Online and offline features: one kernel, several stores."""
