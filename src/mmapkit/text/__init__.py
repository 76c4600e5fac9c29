"""Text: find, count, index and search in buffers of any size.

literals.py works out what every match of a regular expression contains, engines.py says which
compiled patterns are accepted, and search.py runs them over lines or over the whole text.
"""
