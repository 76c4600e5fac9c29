"""Passes over files of any size in bounded memory.

cuts.py says where blocks begin and end, places.py brings them into memory and out again,
cache.py keeps what others had in the page cache, choice.py decides between mapping and reading,
running.py is one pass, sources.py plans it, over what is mapped or over a file (files.py), and
joined.py makes one of several; parallel.py runs a function over all blocks and progress.py tells
how far it has come.
"""
