"""A plan: kernel calls on buffers allocated once; the layout of the flat vector they work on."""
