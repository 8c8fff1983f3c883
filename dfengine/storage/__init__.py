"""Files and descriptors: where piece n lies, which pieces are here, what may be served."""
