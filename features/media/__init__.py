"""Files of pictures, sound and video to arrays. The home of `av`."""
