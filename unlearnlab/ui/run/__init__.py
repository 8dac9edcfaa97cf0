"""A run on the page: live panel, scores, answers, record, exports, past runs."""
