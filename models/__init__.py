"""From history to a signed bundle that every worker serves."""
