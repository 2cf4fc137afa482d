"""The nouns: transaction, label, decision, errors. Pure: standard library and msgspec only."""
