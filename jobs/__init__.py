"""Everything a model project goes through, from raw events to a watched release."""
