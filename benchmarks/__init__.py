"""What the gateway costs, as ratios within one run: ``python -m benchmarks``. See docs/explanation/benchmarks.md."""
