"""The page: all that touches gradio. It draws views and forwards clicks; it computes nothing."""
