SELECT accounts.budgeted, accounts.user_id, accounts.low_balance_at, accounts.posted, accounts.held,
      accounts.lifetime_granted, accounts.entry_seq, accounts.grant_seq, accounts.next_due_at,
      accounts.as_of, accounts.head_grant_id, accounts.head_remaining FROM credits.accounts WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE
