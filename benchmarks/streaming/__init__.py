"""Tables larger than memory: time and memory of an audit as LIVE grows."""
