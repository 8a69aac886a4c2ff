variable "total" {
  type = number
}

resource "terraform_data" "thing" {
  count = var.total
  input = {
    number = count.index
    note   = "of thing-${count.index}"
  }
}
