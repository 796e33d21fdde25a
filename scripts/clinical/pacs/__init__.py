"""Studies from a PACS and results to it, and a folder that is watched: the network and the disk around a report."""
