"""How fast minibert is, where its time goes, and what the same work costs elsewhere: `minibert bench`."""
