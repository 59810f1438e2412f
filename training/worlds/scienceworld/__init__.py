"""ScienceWorld: the scripted expert, data augmentation, the rule audit."""
