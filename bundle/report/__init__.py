"""What an evaluation prints: its page, its figures and its gallery; `results` draws on radiographs."""
