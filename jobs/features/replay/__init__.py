"""Replay: every logged vector computed once more from the lake, compared bit for bit, each mismatch with its cause."""
