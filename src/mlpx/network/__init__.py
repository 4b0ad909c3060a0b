"""A network: layers and one flat vector of parameters on a device; its training state, its file."""
