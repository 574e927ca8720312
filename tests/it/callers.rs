//! What is known of the programs that log people in: the two tables agree, and the page is
//! made of them. `make callers` runs the programs.

#[path = "../callers/page.rs"]
mod page;

#[path = "../callers/table.rs"]
mod table;

#[test]
fn the_table_of_programs_says_what_was_seen_of_them() {
    let all = table::all_seen();
    assert!(!all.seen.is_empty(), "nothing was seen: make callers");
    assert_eq!(table::all_contradictions(&all), [""; 0]);
}

#[test]
fn the_page_of_programs_is_what_its_two_tables_make() {
    let page = include_str!("../../docs/CALLERS.md");
    let made = page::render(&table::entries(), &table::all_seen());
    assert_eq!(page, made, "docs/CALLERS.md is old: make callers CALLER=page");
}
