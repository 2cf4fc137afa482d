"""The dashboard's static files, served by `weir web`: plain modules, style sheet and a vendored chart library; no build step."""
