"""Text: find, count and search in bytes, by kernels that run at the speed of memory.

`windows` knows how a text is walked through, `find` finds literals, `lines` and `index` know where
lines begin, `literals` and `engines` know regular expressions, and `search` joins them.
"""
