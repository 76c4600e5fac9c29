"""Transactions: many pages, one commit. What is public is offered by `mmapkit` itself.

==============  ====================================================================================
transaction.py  one transaction: begin, commit, rollback
view.py         the private mapping that it changes; growth.py: arrays in it that grow
changes.py      which pages of it were changed
staged.py       what goes from there into the journal
store.py        what a process keeps for a file: whose turn it is, and the order of a commit
locks.py        who may write, read and apply, between processes
files.py        what the journal asks of a filesystem
runs.py         runs of bytes that a commit changes
slots.py        the bytes of a journal, and every check of them: what a generation begins with
frames.py       what follows: commits, and marks that they are applied
window.py       looking through a journal from its begin to its end
journal.py      one open journal: append, sync, mark, catch up, checkpoint
findings.py     what the journal holds that somebody left behind
fit.py          whether the data file fits it: may be what a crash left, shows all of it
redo.py         writing its commits into the data file
recovery.py     what is done with a journal that somebody left behind
following.py    a reader's look at a journal that others write
reading.py      sections in which one committed state is seen
snapshot.py     consistent copies while others write
==============  ====================================================================================
"""
