"""A model that leaves: as an ONNX file, or as plain NumPy.

`onnx/` has a graph for every layer and activation, `plain/` their functions in NumPy. Both walk the
same places (`sites`) and give the same answers (`answers`).
"""
