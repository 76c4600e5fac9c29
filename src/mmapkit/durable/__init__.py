"""Transactions: many pages, one commit. What is public is offered by `mmapkit` itself.

=============  =====================================================================================
files.py       what the journal asks of a filesystem
frames.py      the bytes of a journal, and every check of them
journal.py     one open journal: append, sync, mark, catch up, checkpoint
recovery.py    what is done with a journal that somebody left behind
=============  =====================================================================================
"""
