"""Why a gradient entry has its value: an exact sum of terms."""
