"""ScienceWorld: thirty types of science tasks (Wang et al., EMNLP 2022)."""
