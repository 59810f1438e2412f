"""What training needs of each world, one package a world, behind `training.worlds.base`."""
