"""Answers from a bundle: batch generation and the HTTP endpoint. Never imports torch or mlflow."""
