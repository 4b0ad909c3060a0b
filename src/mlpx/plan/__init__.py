"""Plans, kernel calls on buffers allocated once; and the layout of the flat vector."""
