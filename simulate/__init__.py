"""The transaction simulator: cards, merchants, fraud stories, label delays, drift."""
