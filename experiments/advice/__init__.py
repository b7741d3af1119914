"""Small experiments behind the advice of the guide; `ADVICE.md` shows them."""
