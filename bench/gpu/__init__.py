"""What gpu_check.sh runs on a machine with a GPU: sections, each in a process of its own."""
