"""What a run came to: scores with intervals, vote replay, pictures, the report."""
