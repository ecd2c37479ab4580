"""Reports: they place finished scores, tables and images, and measure nothing."""
