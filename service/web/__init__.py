"""The dashboard: what `weir web` collects, evaluates and serves."""
