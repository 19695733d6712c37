"""The wire: YAML scenarios for any server of the V2 protocol, and the real `tritonclient` in its four variants."""
