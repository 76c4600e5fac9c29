"""Transactions: many pages, one commit. What is public is offered by `mmapkit` itself.

===============  ===================================================================================
transaction.py   a private view to change; leaving it commits all or nothing
store.py         what a process keeps for one file, and the order of a commit
staged.py        what one transaction wants written
changes.py       which pages of the private view were changed
view.py          the private view: a Mapping that can grow
growth.py        arrays in a transaction, and following the file after it
locks.py         locks between processes, and the two patterns built from them
reading.py       reading one committed state
snapshot.py      a consistent copy while a writer works
files.py         what the journal asks of a filesystem
frames.py        the bytes of a journal, and every check of them
journal.py       one open journal: append, sync, mark, catch up, checkpoint
following.py     a journal that others write, at a glance
recovery.py      what is done with a journal that somebody left behind
===============  ===================================================================================
"""
