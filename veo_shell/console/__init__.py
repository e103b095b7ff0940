"""The operator's side: attach, facades, rendering, scripted sessions."""
