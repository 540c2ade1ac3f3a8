"""Raw columns to typed ones: ids, names, numbers, times, lists."""
