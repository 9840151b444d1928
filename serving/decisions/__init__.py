"""From scores to the next best action: playbook, policy, arbitration, ledger."""
