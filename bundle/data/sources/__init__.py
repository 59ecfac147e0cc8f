"""Data sources: each reads its own tables into records, and one engine makes a datalist of them and the images."""
