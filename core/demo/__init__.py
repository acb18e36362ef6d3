"""The demo network and its data, made by scripts/train_demo.py."""
