"""Which dfengine this is."""

VERSION = "0.1.0"
