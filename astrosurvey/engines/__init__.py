"""The engines that have workers, and the site file that configures them."""
