DROP TABLE usage.dedupe;
