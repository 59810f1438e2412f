"""The evaluation of finished episodes: scores, explanations of turns, comparisons, reports and exports."""
