"""Data sets from where people keep them: hosts, buckets, links and folders, whole and with a record of where from."""
