"""The version of dfengine."""

VERSION = "0.1.0"
