"""Run and judgement -> one versioned document, for people and for programs."""
