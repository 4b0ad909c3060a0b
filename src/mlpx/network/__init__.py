"""A network: layers and one flat parameter vector on a device; its training state and file."""
