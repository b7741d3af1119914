"""The papers' experiments: flags -> Config -> run -> record -> table."""
