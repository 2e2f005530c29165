"""Where NaN, infinity or an explosion began, and why."""
